package server

import "slices"

// clusterCommands returns the rows of the group cluster.
func clusterCommands() []command {
	return slices.Concat(
		clusterModeCommands(),
		[]command{clusterCommand()},
	)
}

// clusterModeCommands returns the rows that change what a node of a cluster answers.
func clusterModeCommands() []command {
	return []command{
		{
			name: "asking", arity: 1, flags: fast,
			group: groupCluster, since: "3.0.0", acl: "connection",
			summary: "Refused: cluster support is disabled.",
			run:     runCluster,
		},
		{
			name: "readonly", arity: 1, flags: fast | loading | stale,
			group: groupCluster, since: "3.0.0", acl: "connection",
			summary: "Refused: cluster support is disabled.",
			run:     runCluster,
		},
		{
			name: "readwrite", arity: 1, flags: fast | loading | stale,
			group: groupCluster, since: "3.0.0", acl: "connection",
			summary: "Refused: cluster support is disabled.",
			run:     runCluster,
		},
	}
}

// clusterCommand returns the row of CLUSTER.
func clusterCommand() command {
	return command{
		name: "cluster", arity: -2, flags: 0,
		group: groupCluster, since: "3.0.0",
		summary: "Commands about clusters, which sessiond is not part of.",
		subs: []command{
			{
				name: "info", arity: 2, flags: stale,
				tips:  []string{"nondeterministic_output"},
				group: groupCluster, since: "3.0.0",
				summary: "Refused: cluster support is disabled.",
				run:     runCluster,
			},
			{
				name: "nodes", arity: 2, flags: stale,
				tips:  []string{"nondeterministic_output"},
				group: groupCluster, since: "3.0.0",
				summary: "Refused: cluster support is disabled.",
				run:     runCluster,
			},
			{
				name: "slots", arity: 2, flags: stale,
				tips:  []string{"nondeterministic_output"},
				group: groupCluster, since: "3.0.0",
				summary: "Refused: cluster support is disabled.",
				run:     runCluster,
			},
			{
				name: "shards", arity: 2, flags: stale,
				tips:  []string{"nondeterministic_output"},
				group: groupCluster, since: "7.0.0",
				summary: "Refused: cluster support is disabled.",
				run:     runCluster,
			},
			{
				name: "myid", arity: 2, flags: stale,
				group: groupCluster, since: "3.0.0",
				summary: "Refused: cluster support is disabled.",
				run:     runCluster,
			},
			{
				name: "keyslot", arity: 3, flags: stale,
				group: groupCluster, since: "3.0.0",
				syntax:  "key",
				summary: "Refused: cluster support is disabled.",
				run:     runCluster,
			},
			{
				name: "help", arity: 2, flags: loading | stale,
				group: groupCluster, since: "5.0.0",
				summary: "Refused: cluster support is disabled.",
				run:     runCluster,
			},
		},
	}
}
