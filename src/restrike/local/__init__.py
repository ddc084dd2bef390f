"""What runs on the user's own machine: Amazon's DynamoDB Local, found or fetched, started and stopped."""
