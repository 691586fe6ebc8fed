"""The library behind a paper that rebuilds itself: three block variants of one small network."""
