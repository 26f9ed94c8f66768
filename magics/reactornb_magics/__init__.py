"""The cell and line magics: parse the line, call the session, show. No logic."""
