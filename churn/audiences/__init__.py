"""Audiences: lists of people in the form in which advertising networks take them."""
