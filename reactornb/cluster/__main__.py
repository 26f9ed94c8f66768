"""`python -m reactornb.cluster host`: the process of a host."""

import sys

from reactornb.cluster.dialing import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
