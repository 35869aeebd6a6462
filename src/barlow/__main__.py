"""`python -m barlow`, for launchers such as torchrun."""

from barlow.cli import main

if __name__ == "__main__":
    main()
