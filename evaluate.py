"""Evaluate a trained run on held-out images: `python evaluate.py run=<folder> [option=value ...]`."""

from spnn.commands.evaluate import main

if __name__ == "__main__":
    main()
