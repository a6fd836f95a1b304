from crystal_search.cli import main

main()
