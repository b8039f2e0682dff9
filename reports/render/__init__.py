"""A run's figures as HTML, Markdown, JSON, PDF, workbook, Parquet and rows on the terminal."""
