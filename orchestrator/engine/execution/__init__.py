"""Graphs checked and run, job after job."""
