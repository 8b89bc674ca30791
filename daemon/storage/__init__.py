"""The database: its tables, and what is read from them and written to them."""
