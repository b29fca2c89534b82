"""Where the samples of a data set come from: lists of tasks, a shard each, and what makes a task's records."""
