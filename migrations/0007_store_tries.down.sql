DROP TABLE store_tries;
