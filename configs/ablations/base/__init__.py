"""Short trainings, from which the runs of an ablation depart."""
