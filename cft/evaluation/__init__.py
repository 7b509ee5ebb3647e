"""How good an encoder is: metrics, intervals, suites, tables, plots and reports."""
