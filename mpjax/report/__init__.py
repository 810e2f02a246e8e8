"""What did the study find, and how can a reader check it? One page of HTML, and a rating page."""
