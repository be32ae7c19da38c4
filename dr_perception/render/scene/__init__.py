"""What is drawn, with which numbers, and where its vertices and faces come to lie on the image."""
