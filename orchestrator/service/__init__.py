"""The service: jobs from many clients over every server there is."""
