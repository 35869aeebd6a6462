"""From names, paths and objects to nodes of a graph, or to many graphs."""
