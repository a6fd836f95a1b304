"""``python -m client_app IN.zip OUT.zip``, and where the executable starts."""

import sys

try:
    from client_app.main import main
except KeyboardInterrupt:  # stopped while numpy and onnxruntime were loading: nothing is lost
    sys.exit(4)

if __name__ == "__main__":
    main()
