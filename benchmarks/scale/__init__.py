"""Features per image on growing datasets: what a change, a kill and many images cost."""
