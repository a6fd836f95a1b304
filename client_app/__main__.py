"""``python -m client_app IN.zip OUT.zip``."""

from client_app.main import main

if __name__ == "__main__":
    main()
