"""The server side of CampusTap: people, money and water sessions. It knows no Modbus."""
