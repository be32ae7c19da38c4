"""Frames and models from files: BOP scenes, rosbag2, plain folders; CAD models; and their writers."""
