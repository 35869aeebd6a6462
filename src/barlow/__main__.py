"""`python -m barlow`, for launchers such as torchrun."""

from barlow.cli.commands import main

if __name__ == "__main__":
    main()
