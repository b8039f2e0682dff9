"""``python -m carbon_trainer`` is ``carbon-train``; torchrun starts it so."""

from carbon_trainer.cli.main import main

if __name__ == "__main__":
    main()
