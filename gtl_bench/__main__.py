"""`python -m gtl_bench`."""

if __name__ == "__main__":
    from gtl_bench.cli import main

    main()
