"""Train the stages of an experiment: `python train.py [experiment=...] [stages=[...]] [option=value ...]`."""

from spnn.commands.train import main

if __name__ == "__main__":
    main()
