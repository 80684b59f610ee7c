"""The edge of Rayquiz: HTTP, websockets and pages as Ray Serve applications, and the command line."""
