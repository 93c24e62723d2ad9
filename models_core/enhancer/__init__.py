"""The enhancer: Stable Diffusion's components through diffusers, LoRA through peft."""
