#!/bin/sh
# BOINC's own script makes the project in the volume; so does this.
exec python3 /stand-in/step2.py
