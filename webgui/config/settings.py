"""Settings of the server, all from the environment, each name with STYLEDIFFUSER_ before it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url

from generator_worker import contract
from messaging import logs

from . import environment as env

PACKAGE = Path(__file__).resolve().parents[1]
BASE_DIR = PACKAGE.parent
VERSION = "0.1.0"

# --- where things live -------------------------------------------------------------------------
# Beside manage.py; of an installed package, in the folder it is started from.
HOME = env.folder("HOME", (BASE_DIR if (BASE_DIR / "manage.py").exists() else Path()) / "var")
# The folder that workers see over SFTP; quarantine and media lie outside it on purpose.
SFTP_ROOT = env.folder("SFTP_ROOT", HOME / "sftp")
SFTP_ACCOUNTS = env.folder("SFTP_ACCOUNTS", HOME / "accounts")
MEDIA_ROOT = env.folder("MEDIA_ROOT", HOME / "media")
QUARANTINE_ROOT = HOME / "quarantine"
IMAGE_CACHE_ROOT = HOME / "cache" / "images"
# What administrators upload, until it is inspected: hostile until then, and no worker's to see.
UPLOAD_ROOT = env.folder("UPLOAD_ROOT", HOME / "uploads")
MEDIA_URL = "/media/"  # nothing is served from here: images leave through the API alone

# --- security ----------------------------------------------------------------------------------
DEBUG = env.flag("DEBUG")
SECRET_KEY = env.secret_key(HOME)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("TRUSTED_ORIGINS")
# How many reverse proxies stand in front. With 0, X-Forwarded-For is not believed.
NUM_PROXIES = env.number("NUM_PROXIES", 0)
# nginx stands in front and sends the pictures' files, told which by X-Accel-Redirect.
X_ACCEL = env.flag("X_ACCEL")
HTTPS = env.flag("HTTPS")
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS and NUM_PROXIES else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Over TLS browsers hold cookies of these names to be of this very host, and secure.
COOKIE_PREFIX = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME = COOKIE_PREFIX + "sessionid"
CSRF_COOKIE_NAME = COOKIE_PREFIX + "csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True  # forms carry the token to our scripts
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 3600 * env.number("SESSION_HOURS", 12, least=1)
MESSAGE_STORAGE = "webgui.accounts.notices.NoticesCookie"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "webgui.accounts.passwords.NoWordsOfThisSite"},
]
# Wrong passwords are counted and log-ins locked as `webgui.accounts.lockout` says.
LOGIN_FAILURES = env.number("LOGIN_FAILURES", 5, least=1)
LOGIN_LOCK_MINUTES = env.number("LOGIN_LOCK_MINUTES", 15, least=1)
LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_HANDLER = "webgui.accounts.lockout.Lock"
AXES_FAILURE_LIMIT = LOGIN_FAILURES
AXES_COOLOFF_TIME = timedelta(minutes=LOGIN_LOCK_MINUTES)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_PARAMETERS = ["ip_address"]
AXES_CLIENT_IP_CALLABLE = "webgui.accounts.visitor.network_of"
AXES_LOCKOUT_CALLABLE = "webgui.accounts.lockout.locked_out"
AXES_DISABLE_ACCESS_LOG = True  # the log has it
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken"]

# --- application -------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "axes",
    "webgui.accounts",
    "webgui.registry",
    "webgui.fleet",
    "webgui.enrolment",
    "webgui.buffer",
    "webgui.studio",
    "webgui.watching",
    "webgui.pages",
    "webgui.sftp",
    "webgui.backup",
    "webgui.demo",
]
MIDDLEWARE = [
    "webgui.config.logs.RequestId",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "webgui.accounts.visitor.VisitorCookie",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "webgui.config.urls"
WSGI_APPLICATION = "webgui.config.wsgi.application"
ASGI_APPLICATION = "webgui.config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [PACKAGE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
# The largest request anyone but an administrator has reason to send.
DATA_UPLOAD_MAX_MEMORY_SIZE = 262_144

# --- database, cache ---------------------------------------------------------------------------
DATABASE_URL = env.text("DATABASE_URL", f"sqlite:///{HOME / 'db.sqlite3'}")
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(
        DATABASE_URL, conn_max_age=env.number("DATABASE_CONN_MAX_AGE", 60), conn_health_checks=True
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    DATABASES["default"]["ENGINE"] = "webgui.config.postgresql"
elif DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    HOME.mkdir(parents=True, exist_ok=True)
    DATABASES["default"]["OPTIONS"] = {
        # Deferred transactions fail with "database is locked" when two of them begin to write.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
# The throttle's counters, in one place for all web processes: unless said otherwise, the broker's
# server. Where it does not answer, each process counts for itself.
BROKER_URL = env.text("BROKER_URL", "redis://127.0.0.1:6379/0")
CACHE_URL = env.text("CACHE_URL", env.next_database(BROKER_URL))
# With an account that may make workers' accounts there.
BROKER_ADMIN_URL = env.text("BROKER_ADMIN_URL", BROKER_URL)
# Where workers find the broker (any account in it is left out) and the SFTP server.
WORKERS_BROKER = env.text("WORKERS_BROKER", BROKER_URL)
WORKERS_SFTP = env.text("WORKERS_SFTP", "127.0.0.1:2222")
CACHES: dict[str, Any] = {
    name: {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": name,
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
    for name in ("default", "own")
}
if CACHE_URL:
    CACHES["default"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": CACHE_URL,
        "KEY_PREFIX": "stylediffuser",
        "OPTIONS": {
            "serializer": "webgui.config.cache.JsonSerializer",
            "socket_timeout": 1,
            "socket_connect_timeout": 1,
        },
    }

# --- static files ------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [PACKAGE / "static"]
# With STATIC_ROOT (and `collectstatic` into it) names carry a hash and are cached for ever;
# without it files are served straight from where they lie, which needs no step before starting.
STATIC_ROOT = env.text("STATIC_ROOT") or None
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_MAX_AGE = 300
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if STATIC_ROOT
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# --- REST API ----------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],  # open to anyone; so no CSRF token is asked for either
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["webgui.api.bodies.BoundedJSON"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "webgui.api.bodies.FirstRenderer",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "webgui.api.errors.as_problem",
    "UNAUTHENTICATED_USER": None,
    "NUM_PROXIES": NUM_PROXIES,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "StyleDiffuser",
    "DESCRIPTION": "Unique avatars, made ahead of demand and handed out once each.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "CheckpointState": "webgui.registry.models.Checkpoint.State",
        "ReleaseState": "webgui.registry.models.Release.State",
    },
}
CLAIMS_PER_MINUTE = env.number("CLAIMS_PER_MINUTE", 60, least=1)

# --- the buffer's patience ---------------------------------------------------------------------
TICKET_SECONDS = env.number("TICKET_SECONDS", 300, least=10)  # the longest wait in line
# Browsers wake a hidden tab's timers once a minute, so silence must last longer than that.
TICKET_SILENCE_SECONDS = env.number("TICKET_SILENCE_SECONDS", 90, least=5)
AVATAR_SIZE = env.number("AVATAR_SIZE", 512, least=32)  # pixels a side; others are refused
DISCARDED_DAYS = env.number("DISCARDED_DAYS", 14, least=0)  # kept in case of a rollback
QUARANTINE_DAYS = env.number("QUARANTINE_DAYS", 14, least=1)  # kept for people to look at
TICKETS_PER_POOL = env.number("TICKETS_PER_POOL", 1000, least=1)
TICKETS_PER_CLIENT = env.number("TICKETS_PER_CLIENT", 5, least=1)
BATCHES_PER_WORKER = env.number("BATCHES_PER_WORKER", 2, least=1)  # in flight at once
BATCH_GRACE_SECONDS = env.number("BATCH_GRACE_SECONDS", 60, least=1)  # for loading and transport
BATCH_SILENCE_SECONDS = env.number("BATCH_SILENCE_SECONDS", 40, least=5)  # once it has begun
BATCH_LOADING_SECONDS = env.number("BATCH_LOADING_SECONDS", 120)  # while nobody has the release
WORKER_FAULTS = env.number("WORKER_FAULTS", 5, least=1)  # in a row, then it is taken off duty
WORKER_SILENCE_SECONDS = env.number("WORKER_SILENCE_SECONDS", 30, least=5)

# --- jobs: what workers do while somebody waits ------------------------------------------------
# A worker finishes what it is at first.
JOB_START_SECONDS = env.number("JOB_START_SECONDS", 300, least=5)
JOB_SILENCE_SECONDS = env.number("JOB_SILENCE_SECONDS", 45, least=5)  # once it has begun
JOB_DAYS = env.number("JOB_DAYS", 30, least=1)  # kept after their end, with their images

# --- alarms ------------------------------------------------------------------------------------
ALARM_BUFFER_LOW_MINUTES = env.number("ALARM_BUFFER_LOW_MINUTES", 10, least=1)
ALARM_DISK_MIB = env.number("ALARM_DISK_MIB", 2048)
ALARM_EMAILS = env.words("ALARM_EMAILS")
ALARM_WEBHOOK = env.web_address("ALARM_WEBHOOK")
ALARM_WEBHOOK_SECRET = env.text("ALARM_WEBHOOK_SECRET")
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.number("EMAIL_PORT", 25, least=1)
EMAIL_HOST_USER = env.text("EMAIL_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_PASSWORD")
EMAIL_USE_TLS = env.flag("EMAIL_TLS")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", "stylediffuser@localhost")

# --- checkpoints -------------------------------------------------------------------------------
UPLOAD_MAX_MIB = env.number("UPLOAD_MAX_MIB", 16_384, least=1)  # of one file
CHECKPOINT_QUOTA_MIB = env.number("CHECKPOINT_QUOTA_MIB", 204_800, least=1)  # of all together
UPLOAD_EXPIRY_HOURS = env.number("UPLOAD_EXPIRY_HOURS", 72, least=1)  # after the last byte
# A client that sends nothing for so long has its connection cut: it resumes with another.
UPLOAD_SILENCE_SECONDS = env.number("UPLOAD_SILENCE_SECONDS", 60, least=1)

# --- messages ----------------------------------------------------------------------------------
# The same in every program on one broker, since the shortest wins.
VISIBILITY_TIMEOUT = env.number("VISIBILITY_TIMEOUT", contract.VISIBILITY_TIMEOUT, least=60)
# For health checks: a file that this process's Celery worker renews every few seconds.
PULSE = env.text("PULSE")

# --- metrics -----------------------------------------------------------------------------------
# Who may read /metrics. Without it, this host alone.
METRICS_TOKEN = env.text("METRICS_TOKEN")

# --- logs --------------------------------------------------------------------------------------
logs.hide(SECRET_KEY, EMAIL_HOST_PASSWORD, ALARM_WEBHOOK_SECRET, METRICS_TOKEN)
logs.hide_passwords(DATABASE_URL, BROKER_URL, BROKER_ADMIN_URL, CACHE_URL, WORKERS_BROKER)
LOG_LEVEL = env.text("LOG_LEVEL", "INFO").upper()
LOGGING = logs.settings(LOG_LEVEL, env.choice("LOG_FORMAT", "text", ("text", "json"))) | {
    "filters": {"not foreseen": {"()": "webgui.config.logs.NotForeseen"}},
    "loggers": {
        # Refusals (4xx) are the client's affair; the access log has them already.
        "django.request": {"level": "ERROR", "filters": ["not foreseen"]},
        # `webgui.accounts.lockout` says it in one line each.
        "axes": {"level": "ERROR"},
        # A line for each of the clock's ticks would bury what happened.
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
    },
}
