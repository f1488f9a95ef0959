"""Sample images: `python sample.py run=<folder> [task=reconstruct|edit|generate|restore|...] [option=value ...]`."""

from spnn.commands.sample import main

if __name__ == "__main__":
    main()
