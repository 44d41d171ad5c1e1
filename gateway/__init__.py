"""The edge of CampusTap: it runs beside the pipes and knows litres and seconds, never prices."""
