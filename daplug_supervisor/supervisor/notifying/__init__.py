"""Telling people what they have to know, once for each episode."""
