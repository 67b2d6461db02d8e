"""Boxes that are started before anybody asks for one: what they are made for, who gets them, when they go."""
