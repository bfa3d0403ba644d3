"""Energy, water and air of buildings: what they took, what they saved, how the rooms were."""
