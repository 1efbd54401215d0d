"""Recorded runs trained again, alone, and compared with what they have left."""
