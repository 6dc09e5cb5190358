"""What RunPod Serverless starts: python -u handler.py. With --rp_serve_api it answers here as RunPod would."""

import sys
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("runpod") is None:
        sys.exit('the worker\'s package is not installed: pip install "storyboard[runpod]"')

    from storyboard.runpod import start

    start()
