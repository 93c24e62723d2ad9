"""Reading other people's checkpoints without executing them. All but `convert` needs no torch."""
