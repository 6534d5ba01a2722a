"""Plans and tables as text: for a terminal, for Markdown, for a spreadsheet, for a program."""
