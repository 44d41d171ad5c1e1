"""The reference firmware of HWO-1 in portable C99, and how a computer builds and drives it."""
