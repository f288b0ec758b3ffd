"""Control: what people and programs may ask of the controller, as values, and how it is answered.

One door for the command line and the socket. How a wish travels or is printed does not belong here, nor does
the reconcile itself: a verb changes facts and asks for a look, nothing else.
"""
