"""What does each section of the report show? Its sentences, tables and figures."""
