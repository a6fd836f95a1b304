"""What plugs into a stock BOINC server, and the command that puts it there."""
