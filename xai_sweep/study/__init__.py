"""The experiment: cases, their counterparts, and what is measured on both."""
