"""The page's sections: each takes the facts of a run and gives what its template shows, or nothing."""
