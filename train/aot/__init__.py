"""What a training would cost on TPUs, asked of their compiler where there are none."""
