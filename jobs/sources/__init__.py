"""Where the samples of a data set come from: tasks, a shard each, and what makes their records; and checks of both."""
