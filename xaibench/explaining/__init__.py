"""What an explanation is: the contracts of explainers, fitting them, binding them to a classifier, their cache."""
