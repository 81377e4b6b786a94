"""What settings do to a network: attention, number formats, where it runs and rests."""
