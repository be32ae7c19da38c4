"""ROS 2: the node, message conversions, the player and the recorder of the demo.

Everything here is thin: a callback converts, calls the tracker and publishes. `dr_perception.ros.sync`,
`dr_perception.ros.session` and `dr_perception.ros.mailbox` are plain Python and need no ROS.
"""
