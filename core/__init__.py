"""The shared kernel: what two processes need."""

VERSION = "0.1.0"
